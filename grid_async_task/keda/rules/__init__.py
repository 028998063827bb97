"""One rule, one file. Each `check` looks at all files at once and gives a finding for every place where it is broken.

A rule speaks only of what the files show: where a value comes from elsewhere, it is silent.
"""
