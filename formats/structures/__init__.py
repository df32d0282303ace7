"""Structure files of other programs: one file a format, and `files`, which chooses among them."""
