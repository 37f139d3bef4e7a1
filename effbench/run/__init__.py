"""One run, here or in a worker: chain, network, file, result; and the store that keeps them. No Hydra, no MLflow."""
