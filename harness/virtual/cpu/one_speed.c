/* Make the threads of a program compute at one speed: so many times slower than this machine's processor.
 *
 * Loaded before the C library (LD_PRELOAD), this library stands before every call by which a thread can wait, be seen by others, or
 * read the time. There it sleeps until the thread's processor time since the last such call, times HARNESS_CPU_FACTOR, has passed.
 * A thread therefore computes at one speed whether it waited before or not, unlike one under a quota, whose budget fills up while it
 * waits. Load on the machine is absorbed as long as it slows the thread by less than the factor; by how much it was more is
 * counted, and written to HARNESS_CPU_REPORT/cpu-<pid>.
 *
 * Where HARNESS_CPU_FROM is set, all that is held back only once a process has written a line with that text to its output: importing
 * libraries at a board's speed takes longer than what is measured. HARNESS_CPU_REPORT/begun has the moment, for all processes of
 * the rank.
 *
 * Not seen: programs that are linked statically, and waits inside libraries that call the kernel themselves (OpenMP's barriers).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
/* Less processor time than this waits for more of it: asking for it costs a third of a microsecond. */
#define LEAST_LAP 3000LL
/* A sleep shorter than this is left to the next: the kernel's timers are not more exact. */
#define LEAST_SLEEP 20000LL
/* Each sleep costs the thread its warm caches, 0.1 to 0.2 ms of processor time. Where only threads of this process learn of it, it
 * is put off until so much processor time is owed. */
#define LEAST_INNER_LAP 1000000LL
/* Never: who only reads the time is told the one at which it will have slept. */
#define NO_SLEEP INT64_MAX
/* A call that took so much longer than it computed has waited. */
#define LEAST_WAIT 20000LL
/* Descriptors of our own are above those that programs count on. */
#define LEAST_DESCRIPTOR 500

/* One process's counters, in nanoseconds; `harness` reads them (experiments/agent/cpu.py). */
struct counters {
    char mark[8];
    _Atomic int64_t computed; /* processor time that was stretched */
    _Atomic int64_t behind;   /* by how much the end of a lap came too late where others could see it */
    _Atomic int64_t slept;
};

struct thread {
    int known;
    int inside;     /* a signal handler's calls pass while the thread is in here */
    int descriptor; /* of its /proc/thread-self/schedstat, or -1 */
    int64_t due;    /* when, by its one speed, the thread is where it is */
    int64_t cpu;    /* its processor time at the last call */
    int64_t wall;   /* the time then */
    int64_t delay;  /* how long it had stood in the scheduler's queue then */
};

static double factor;
/* Since when threads are held back, 0: not yet. */
static _Atomic int64_t always = 1;
static _Atomic int64_t *begun = &always;
static const char *from;
/* The one of above in time that is slept. */
static int64_t least_inner_sleep;
static struct counters nowhere;
static struct counters *counters = &nowhere;
static pthread_key_t at_thread_end;
static __thread struct thread self __attribute__((tls_model("initial-exec")));

static int (*real_clock_gettime)(clockid_t, struct timespec *);

static int at_full_speed(void) {
    return factor <= 1.0 || atomic_load_explicit(begun, memory_order_relaxed) == 0;
}

static void *next(const char *name, const char *version) {
    void *found = version ? dlvsym(RTLD_NEXT, name, version) : NULL;
    return found ? found : dlsym(RTLD_NEXT, name);
}

static int64_t read_clock(clockid_t clock) {
    struct timespec at;
    if (!real_clock_gettime || real_clock_gettime(clock, &at) != 0) syscall(SYS_clock_gettime, clock, &at);
    return at.tv_sec * SECOND + at.tv_nsec;
}

static void sleep_until(int64_t due) {
    struct timespec at = {due / SECOND, due % SECOND};
    while (syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == -1 && errno == EINTR) {
    }
}

/* How long this thread has stood in the scheduler's queue, ready to run; 0 where the kernel does not count it. */
static int64_t queue_delay(void) {
    char text[96];
    if (self.descriptor < 0) return 0;
    ssize_t size = syscall(SYS_pread64, self.descriptor, text, sizeof text - 1, 0);
    if (size <= 0) return self.delay;
    text[size] = 0;
    char *second = strchr(text, ' ');
    return second ? strtoll(second, NULL, 10) : self.delay;
}

static void know_thread(void) {
    self.known = 1;
    int low = syscall(SYS_openat, AT_FDCWD, "/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC, 0);
    self.descriptor = low < 0 ? -1 : (int)syscall(SYS_fcntl, low, F_DUPFD_CLOEXEC, LEAST_DESCRIPTOR);
    if (low >= 0) syscall(SYS_close, low);
    syscall(SYS_prctl, PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);
    if (self.descriptor >= 0) pthread_setspecific(at_thread_end, (void *)(intptr_t)self.descriptor);
    /* what it has computed so far counts from its start, or since threads are held back */
    int64_t cpu = read_clock(CLOCK_THREAD_CPUTIME_ID), now = read_clock(CLOCK_MONOTONIC);
    int64_t since = now - atomic_load_explicit(begun, memory_order_relaxed), used = cpu < since ? cpu : since;
    self.wall = self.due = now - used;
    self.cpu = cpu - used;
    self.delay = 0;
}

static void forget_thread(void *descriptor) {
    syscall(SYS_close, (int)(intptr_t)descriptor);
    self.descriptor = -1;
}

/* Sleep until what the thread has computed since the last call has taken as long as it would on the slow processor. */
static void settle(int waits, int64_t least) {
    if (at_full_speed() || self.inside) return;
    int before = errno;
    self.inside = 1;
    if (!self.known) know_thread();
    int64_t used = read_clock(CLOCK_THREAD_CPUTIME_ID) - self.cpu;
    if (used >= LEAST_LAP || waits) {
        int64_t now = read_clock(CLOCK_MONOTONIC);
        /* A child that shares our memory until it executes another program has a clock of its own: no more than has passed. */
        if (used > now - self.wall) used = now - self.wall;
        if (used < 0) used = 0;
        self.due += (int64_t)(used * factor);
        atomic_fetch_add_explicit(&counters->computed, used, memory_order_relaxed);
        if (self.due - now > least) {
            sleep_until(self.due);
            int64_t woken = read_clock(CLOCK_MONOTONIC);
            atomic_fetch_add_explicit(&counters->slept, woken - now, memory_order_relaxed);
            now = woken;
        }
        if (waits || now - self.due > LEAST_WAIT) {
            int64_t delay = queue_delay();
            /* What it may catch up on is time that it stood in the queue, not time that it waited for something else. */
            int64_t late = now - self.due, stood = delay - self.delay;
            if (late > stood && late > LEAST_WAIT) self.due = now - (stood > 0 ? stood : 0);
            if (waits) self.delay = delay;
        }
        self.wall = now;
        self.cpu = read_clock(CLOCK_THREAD_CPUTIME_ID);
    }
    self.inside = 0;
    errno = before;
}

/* After a call that may have waited: its end begins a new lap, at the moment when the thread could have run again. */
static void resume(void) {
    if (at_full_speed() || self.inside || !self.known) return;
    int before = errno;
    self.inside = 1;
    int64_t now = read_clock(CLOCK_MONOTONIC), cpu = read_clock(CLOCK_THREAD_CPUTIME_ID);
    int64_t used = cpu - self.cpu, waited = now - self.wall - used;
    if (used >= 0 && waited > LEAST_WAIT) {
        int64_t delay = queue_delay(), stood = delay - self.delay;
        if (self.wall - self.due > LEAST_WAIT)
            atomic_fetch_add_explicit(&counters->behind, self.wall - self.due, memory_order_relaxed);
        if (stood < 0) stood = 0;
        if (stood > waited) stood = waited;
        self.due = now - used - stood;
        self.delay = delay;
    }
    self.inside = 0;
    errno = before;
}

/* A file of the report, shared by all who open it; NULL where it cannot be. */
static void *shared_file(const char *name, size_t size) {
    const char *directory = getenv("HARNESS_CPU_REPORT");
    if (!directory || !*directory) return NULL;
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int file = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0) return NULL;
    void *place = MAP_FAILED;
    if (ftruncate(file, size) == 0) place = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    syscall(SYS_close, file);
    return place == MAP_FAILED ? NULL : place;
}

static void open_report(void) {
    char name[32];
    snprintf(name, sizeof name, "cpu-%d", (int)getpid());
    counters = shared_file(name, sizeof(struct counters));
    if (counters) {
        memcpy(counters->mark, "cpu-1\n", 6);
    } else {
        counters = &nowhere;
        memset(&nowhere, 0, sizeof nowhere);
    }
}

static void await_begin(void) {
    from = getenv("HARNESS_CPU_FROM");
    if (!from || !*from) return;
    void *place = shared_file("begun", sizeof *begun);
    if (place) begun = place;
}

/* Whether this output says that threads are to be held back from now on. */
static void look_for_begin(int descriptor, const void *text, size_t size) {
    int64_t not_yet = 0;
    if (atomic_load_explicit(begun, memory_order_relaxed) || descriptor < 1 || descriptor > 2) return;
    if (memmem(text, size, from, strlen(from))) atomic_compare_exchange_strong(begun, &not_yet, read_clock(CLOCK_MONOTONIC));
}

static void begin_child(void) {
    open_report();
    self.known = 0;
    self.descriptor = -1;
}

__attribute__((constructor)) static void begin(void) {
    real_clock_gettime = next("clock_gettime", NULL);
    const char *text = getenv("HARNESS_CPU_FACTOR");
    pthread_key_create(&at_thread_end, forget_thread);
    open_report();
    await_begin();
    pthread_atfork(NULL, NULL, begin_child);
    self.descriptor = -1;
    factor = text ? strtod(text, NULL) : 0.0;
    least_inner_sleep = (int64_t)(factor * LEAST_INNER_LAP);
}

/* WAITS: a call that may wait. SHOWS: one that does not wait, by which others learn of what was computed. TELLS: the same, but only
 * threads of this process do. */
#define CALL(kind, version, result, name, parameters, arguments)                                                               \
    result name parameters {                                                                                                   \
        static result(*real) parameters;                                                                                       \
        if (!real) real = next(#name, version);                                                                                \
        kind##_BEFORE result answer = real arguments;                                                                          \
        kind##_AFTER return answer;                                                                                            \
    }
#define WAITS_BEFORE settle(1, LEAST_SLEEP);
#define WAITS_AFTER resume();
#define SHOWS_BEFORE settle(0, LEAST_SLEEP);
#define TELLS_BEFORE settle(0, least_inner_sleep);
#define SHOWS_AFTER
#define TELLS_AFTER
#define WAITS(result, name, parameters, arguments) CALL(WAITS, NULL, result, name, parameters, arguments)
#define SHOWS(result, name, parameters, arguments) CALL(SHOWS, NULL, result, name, parameters, arguments)

#ifdef __x86_64__
#define CONDITION_VERSION "GLIBC_2.3.2"
#else
#define CONDITION_VERSION NULL
#endif

typedef struct timespec Time;

WAITS(ssize_t, read, (int d, void *b, size_t n), (d, b, n))
WAITS(ssize_t, readv, (int d, const struct iovec *v, int n), (d, v, n))
WAITS(ssize_t, recv, (int d, void *b, size_t n, int f), (d, b, n, f))
WAITS(ssize_t, recvfrom, (int d, void *b, size_t n, int f, struct sockaddr *a, socklen_t *l), (d, b, n, f, a, l))
WAITS(ssize_t, recvmsg, (int d, struct msghdr *m, int f), (d, m, f))
WAITS(int, recvmmsg, (int d, struct mmsghdr *m, unsigned n, int f, Time *t), (d, m, n, f, t))
WAITS(ssize_t, __read_chk, (int d, void *b, size_t n, size_t s), (d, b, n, s))
WAITS(ssize_t, __recv_chk, (int d, void *b, size_t n, size_t s, int f), (d, b, n, s, f))
WAITS(ssize_t, __recvfrom_chk, (int d, void *b, size_t n, size_t s, int f, struct sockaddr *a, socklen_t *l), (d, b, n, s, f, a, l))
WAITS(int, accept, (int d, struct sockaddr *a, socklen_t *l), (d, a, l))
WAITS(int, accept4, (int d, struct sockaddr *a, socklen_t *l, int f), (d, a, l, f))
WAITS(int, connect, (int d, const struct sockaddr *a, socklen_t l), (d, a, l))
WAITS(int, poll, (struct pollfd *p, nfds_t n, int t), (p, n, t))
WAITS(int, ppoll, (struct pollfd *p, nfds_t n, const Time *t, const sigset_t *s), (p, n, t, s))
WAITS(int, __poll_chk, (struct pollfd *p, nfds_t n, int t, size_t s), (p, n, t, s))
WAITS(int, select, (int n, fd_set *r, fd_set *w, fd_set *e, struct timeval *t), (n, r, w, e, t))
WAITS(int, pselect, (int n, fd_set *r, fd_set *w, fd_set *e, const Time *t, const sigset_t *s), (n, r, w, e, t, s))
WAITS(int, epoll_wait, (int d, struct epoll_event *e, int n, int t), (d, e, n, t))
WAITS(int, epoll_pwait, (int d, struct epoll_event *e, int n, int t, const sigset_t *s), (d, e, n, t, s))
WAITS(ssize_t, writev, (int d, const struct iovec *v, int n), (d, v, n))
WAITS(ssize_t, send, (int d, const void *b, size_t n, int f), (d, b, n, f))
WAITS(ssize_t, sendto, (int d, const void *b, size_t n, int f, const struct sockaddr *a, socklen_t l), (d, b, n, f, a, l))
WAITS(ssize_t, sendmsg, (int d, const struct msghdr *m, int f), (d, m, f))
WAITS(int, sendmmsg, (int d, struct mmsghdr *m, unsigned n, int f), (d, m, n, f))
WAITS(ssize_t, sendfile, (int o, int i, off_t *p, size_t n), (o, i, p, n))
WAITS(int, nanosleep, (const Time *t, Time *left), (t, left))
WAITS(int, clock_nanosleep, (clockid_t c, int f, const Time *t, Time *left), (c, f, t, left))
WAITS(int, usleep, (useconds_t t), (t))
WAITS(unsigned, sleep, (unsigned t), (t))
WAITS(int, sched_yield, (void), ())
WAITS(int, sem_wait, (sem_t *s), (s))
WAITS(int, sem_timedwait, (sem_t *s, const Time *t), (s, t))
WAITS(int, sem_clockwait, (sem_t *s, clockid_t c, const Time *t), (s, c, t))
WAITS(int, pthread_join, (pthread_t p, void **r), (p, r))
WAITS(pid_t, wait, (int *s), (s))
WAITS(pid_t, waitpid, (pid_t p, int *s, int o), (p, s, o))
WAITS(pid_t, wait4, (pid_t p, int *s, int o, struct rusage *u), (p, s, o, u))
WAITS(int, waitid, (idtype_t t, id_t i, siginfo_t *s, int o), (t, i, s, o))
WAITS(int, sigwaitinfo, (const sigset_t *s, siginfo_t *i), (s, i))
WAITS(int, sigtimedwait, (const sigset_t *s, siginfo_t *i, const Time *t), (s, i, t))
CALL(WAITS, CONDITION_VERSION, int, pthread_cond_wait, (pthread_cond_t * c, pthread_mutex_t *m), (c, m))
CALL(WAITS, CONDITION_VERSION, int, pthread_cond_timedwait, (pthread_cond_t * c, pthread_mutex_t *m, const Time *t), (c, m, t))
WAITS(int, pthread_cond_clockwait, (pthread_cond_t * c, pthread_mutex_t *m, clockid_t k, const Time *t), (c, m, k, t))
CALL(TELLS, CONDITION_VERSION, int, pthread_cond_signal, (pthread_cond_t * c), (c))
CALL(TELLS, CONDITION_VERSION, int, pthread_cond_broadcast, (pthread_cond_t * c), (c))
CALL(TELLS, NULL, int, sem_post, (sem_t *s), (s))
SHOWS(int, pthread_create, (pthread_t * p, const pthread_attr_t *a, void *(*f)(void *), void *x), (p, a, f, x))
SHOWS(int, close, (int d), (d))
SHOWS(int, shutdown, (int d, int how), (d, how))
SHOWS(int, kill, (pid_t p, int s), (p, s))

/* Whoever reads the time sees the slow processor's: it is as much ahead as the thread still has to sleep. A thread's own processor
 * time stays what it is. */
int clock_gettime(clockid_t clock, struct timespec *at) {
    int of_processor = clock == CLOCK_THREAD_CPUTIME_ID || clock == CLOCK_PROCESS_CPUTIME_ID;
    if (!of_processor) settle(0, NO_SLEEP);
    int answer = real_clock_gettime ? real_clock_gettime(clock, at) : (int)syscall(SYS_clock_gettime, clock, at);
    if (answer == 0 && !of_processor && !at_full_speed() && !self.inside && self.known) {
        int64_t ahead = self.due - read_clock(CLOCK_MONOTONIC);
        if (ahead > 0) {
            int64_t shown = at->tv_sec * SECOND + at->tv_nsec + ahead;
            at->tv_sec = shown / SECOND;
            at->tv_nsec = shown % SECOND;
        }
    }
    return answer;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

ssize_t write(int descriptor, const void *text, size_t size) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = next("write", NULL);
    look_for_begin(descriptor, text, size);
    settle(1, LEAST_SLEEP);
    ssize_t answer = real(descriptor, text, size);
    resume();
    return answer;
}

/* A lock that is free costs nothing more; one that is not is a wait. */
int pthread_mutex_lock(pthread_mutex_t *mutex) {
    static int (*real)(pthread_mutex_t *);
    if (!real) real = next("pthread_mutex_lock", NULL);
    if (at_full_speed() || self.inside) return real(mutex);
    int answer = pthread_mutex_trylock(mutex);
    if (answer != EBUSY) return answer;
    settle(1, least_inner_sleep);
    answer = real(mutex);
    resume();
    return answer;
}

void _exit(int status) {
    settle(0, LEAST_SLEEP);
    syscall(SYS_exit_group, status);
    __builtin_unreachable();
}
