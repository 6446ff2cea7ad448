"""Readers of data sets, a file each: `read(directory, split, entry)` gives the `Split` named `train` or `validation`.

Each is named in an entry by its file's name, and raises ProgramError naming the file and what is wrong with it.
"""

REMEDY = "provision the nodes again (site.yml), or name the directory with --data-dir"
