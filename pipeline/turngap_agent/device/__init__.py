"""What the engines on torch share: graphs, fixed-shape attention, random weights, and a stand-in tokenizer."""
