"""Tables, CSVs and the HTML report."""
