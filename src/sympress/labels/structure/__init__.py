"""How a note is laid out: lines and lists under a lead, and what answers a symptom beside it."""
