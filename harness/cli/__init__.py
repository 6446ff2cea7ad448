"""The `harness` command: a module a verb, in sub-packages by what the verbs are about; `verbs.py` lists them."""
