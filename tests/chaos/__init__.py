"""Chaos: real processes and a real store, broken on purpose, under clients that write down what they see.

The method is Jepsen's: every emission carries an integer that exists once; client and server keep histories; a checker that knows
neither of them finds afterwards what was lost, doubled, reordered or left unanswered.
"""
