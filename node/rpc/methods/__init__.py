"""Read methods that every role serves: ``al_*`` for traders and operators, a little ``eth_*`` for stock clients."""
