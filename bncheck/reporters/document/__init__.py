"""The report as a page for the browser: what it says, its formulas and its pictures; the template lies beside."""
