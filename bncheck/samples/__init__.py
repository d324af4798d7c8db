"""Two small implementations that ``bncheck demo`` verifies: one is right, one holds a misprinted formula."""
