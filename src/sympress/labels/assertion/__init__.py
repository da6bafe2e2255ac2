"""What a note asserts of a mention: present, absent, possible, hypothetical, historical or family."""
