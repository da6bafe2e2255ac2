"""The strategies that make an encoder smaller and faster, and the language they are written in."""
