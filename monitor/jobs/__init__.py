"""Pure steps from inputs to results; a job never opens a database, a file or a clock."""
