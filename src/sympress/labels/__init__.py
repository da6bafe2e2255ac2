"""What each note carries: lexicon, matching, topics, coded symptoms."""
