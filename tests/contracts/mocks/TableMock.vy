# pragma version 0.4.3
from stf import trie
initializes: trie

@external
def probe() -> uint256:
    trie.open_table()
    g0: uint256 = msg.gas
    a: uint256 = trie.add_leaf(1 << 248, 5, empty(bytes32))
    g1: uint256 = msg.gas
    b: uint256 = trie.index_of(1 << 248)
    g2: uint256 = msg.gas
    trie.set_word(b, 3, 7)
    g3: uint256 = msg.gas
    w: uint256 = trie.get_word(b, 3)
    g4: uint256 = msg.gas
    c: uint256 = trie.first_live(3, 1 << 240, 1 << 250)
    g5: uint256 = msg.gas
    c = trie.first_live(3, 1 << 240, 1 << 250)
    g6: uint256 = msg.gas
    assert c == a and w == 7 and trie.touched_count() == 1
    return unsafe_sub(g0, g1) | unsafe_sub(g1, g2) << 32 | unsafe_sub(g2, g3) << 64 | unsafe_sub(g3, g4) << 96 | unsafe_sub(g4, g5) << 128 | unsafe_sub(g5, g6) << 160
