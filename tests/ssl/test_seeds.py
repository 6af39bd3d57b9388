from espnet2_supernet.ssl.seeds import generator, utterance_seeds


def test_a_seed_belongs_to_an_utterance_and_a_step():
    seeds = utterance_seeds(1, 5, ["a", "b", "c"])
    assert utterance_seeds(1, 5, ["c", "a"]) == [seeds[2], seeds[0]]
    others = utterance_seeds(1, 6, ["a"]) + utterance_seeds(2, 5, ["a"]) + seeds
    assert len(set(others)) == 5 and all(0 <= seed < 2**63 for seed in others)


def test_numbers_are_the_same_on_every_machine():
    assert utterance_seeds(0, 0, ["utt"]) == [3137955439795306662]
    assert generator(7).integers(0, 1000, 4).tolist() == [163, 872, 972, 295]
