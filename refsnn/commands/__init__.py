"""The commands of the command line, one file each: what they are told, and what they do."""
