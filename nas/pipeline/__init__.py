"""What users call: search, retrain, evaluate and predict, one function each."""
