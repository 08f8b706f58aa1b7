"""The deploy gate: is what is served what was trained? (docs/design/parity.md)"""
