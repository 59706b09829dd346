"""The words of the library: each term once, how a figure reads, numbers as text, and the line of conditions.

Results hold values; whatever prints one (a table, the card, the report, a plot, JSON) makes its text here.
"""
