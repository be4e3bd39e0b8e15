"""A study of what texts bring: arms, tuning, reported runs, statistics, a page."""
