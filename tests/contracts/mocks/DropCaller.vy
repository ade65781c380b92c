# pragma version 0.4.3
"""
@title A verifier that drops whatever it is told to, for the prover who calls it
@notice Stands where FraudVerifier stands, to test Rollup's side of a proven fraud.
"""
import batch_header


interface Rollup:
    def drop(header: batch_header.BatchHeader, survivor: batch_header.BatchHeader, prover: address): nonpayable


@external
def prove(rollup: address, header: batch_header.BatchHeader, survivor: batch_header.BatchHeader):
    extcall Rollup(rollup).drop(header, survivor, msg.sender)
