"""Everything that proves this project; ``docs/testing.md`` says what each suite shows."""
