"""The paper's tables and figures: what they are made of, how it is run, and how it is shown."""
