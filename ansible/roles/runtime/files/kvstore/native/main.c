/* The program of schedulers and servers: which of them it is, says the environment (DMLC_ROLE). */
#include <signal.h>

#include "serve.h"

int main(void) {
    struct seat seat;
    signal(SIGPIPE, SIG_IGN);
    if (read_seat(&seat) < 0) return 2;
    switch (seat.role) {
    case SCHEDULER: return run_scheduler(&seat);
    case SERVER: return run_server(&seat);
    default: complain("start workers as Python programs", "this program is a scheduler or a server"); return 2;
    }
}
