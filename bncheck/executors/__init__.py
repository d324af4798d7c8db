"""Where tasks are performed: in this process, or in an isolated one that may die without harm."""
