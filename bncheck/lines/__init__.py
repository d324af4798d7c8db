"""Where in the user's source a named bug is: statements watched while they run, and their values compared."""
