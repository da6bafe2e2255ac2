"""Any number of notes, from where they are to where their findings go."""
