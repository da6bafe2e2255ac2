"""`python -m sympress.deploy.serve.bench` measures the service under load."""

from sympress.deploy.serve.bench.load import main

main()
