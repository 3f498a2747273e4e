"""The parts of the kill test: receivers that misbehave, processes that are killed, charges, and the judgement."""
