"""The numbers that the paper prints: embeddings of size 128, adversarial edges, a GPU, its own splits."""

METRICS = ("recall@20", "ndcg@20", "MI-BF", "MI-NG")
MODELS = ("LightGCN", "SimGCL", "SGL")

# Table 2: dataset, method -> for each of MODELS the four METRICS
_TABLE_2 = {
    "ml-1m": {
        "Retrain": (
            (0.2287, 0.3209, 9.7865, 6.2327),
            (0.2336, 0.3325, 6.2314, 3.9845),
            (0.2339, 0.3328, 20.984, 11.344),
        ),
        "RecEraser": (
            (0.2033, 0.2807, 1.8103, 1.6734),
            (0.2106, 0.2978, 1.8863, 1.2572),
            (0.2099, 0.2887, 1.9968, 1.6589),
        ),
        "GraphEraser": (
            (0.2008, 0.2709, 1.7327, 1.3160),
            (0.1995, 0.2752, 1.9054, 1.2202),
            (0.1989, 0.2797, 2.1676, 1.8691),
        ),
        "CEU": ((0.2219, 0.3152, 1.0601, 0.7462), (0.2239, 0.3217, 1.8883, 1.8018), (0.2234, 0.3163, 1.1281, 0.8396)),
        "GIF": ((0.2111, 0.2912, 1.0426, 0.9351), (0.2117, 0.3067, 1.5980, 1.6629), (0.2177, 0.3031, 1.1063, 0.8123)),
        "UnlearnRec": (
            (0.2282, 0.3206, 6.5071, 4.2766),
            (0.2336, 0.3323, 3.1981, 2.3575),
            (0.2330, 0.3296, 14.0285, 9.3661),
        ),
    },
    "gowalla": {
        "Retrain": (
            (0.2407, 0.1584, 7.6745, 3.9265),
            (0.2605, 0.1703, 15.4290, 7.7154),
            (0.2502, 0.1618, 8.7485, 4.4323),
        ),
        "RecEraser": (
            (0.2211, 0.1432, 1.4975, 0.9473),
            (0.2367, 0.1453, 1.2150, 0.8916),
            (0.2279, 0.1486, 1.7941, 1.0357),
        ),
        "GraphEraser": (
            (0.2191, 0.1399, 1.5865, 0.8182),
            (0.2238, 0.1453, 1.0238, 0.6511),
            (0.2213, 0.1429, 1.8937, 0.9995),
        ),
        "CEU": ((0.2390, 0.1505, 1.1470, 0.5345), (0.2516, 0.1618, 1.0322, 0.5644), (0.2421, 0.1558, 1.1283, 0.5317)),
        "GIF": ((0.2391, 0.1508, 1.0030, 0.5059), (0.2486, 0.1599, 1.0432, 0.5883), (0.2394, 0.1524, 1.0076, 0.5108)),
        "UnlearnRec": (
            (0.2398, 0.1545, 5.3729, 2.8091),
            (0.2540, 0.1670, 4.3520, 1.8075),
            (0.2477, 0.1611, 2.6285, 1.3369),
        ),
    },
    "yelp2018": {
        "Retrain": (
            (0.0625, 0.0511, 6.2634, 3.3154),
            (0.0648, 0.0531, 11.1054, 5.8891),
            (0.0635, 0.0512, 9.9890, 4.4316),
        ),
        "RecEraser": (
            (0.0587, 0.0475, 1.5473, 0.9043),
            (0.0614, 0.0501, 1.2490, 0.6777),
            (0.0599, 0.0482, 1.4003, 0.6195),
        ),
        "GraphEraser": (
            (0.0574, 0.0466, 1.4832, 0.8968),
            (0.0610, 0.0478, 1.2837, 0.6873),
            (0.0578, 0.0460, 1.3896, 0.6536),
        ),
        "CEU": ((0.0597, 0.0493, 1.1415, 0.6055), (0.0633, 0.0516, 1.4724, 0.7977), (0.0621, 0.0497, 1.0751, 0.5801)),
        "GIF": ((0.0580, 0.0461, 1.0113, 0.5188), (0.0630, 0.0513, 1.5555, 0.8539), (0.0624, 0.0501, 1.0503, 0.5689)),
        "UnlearnRec": (
            (0.0617, 0.0501, 5.6431, 2.9978),
            (0.0640, 0.0519, 6.0197, 2.4956),
            (0.0633, 0.0513, 4.0866, 2.0492),
        ),
    },
}

# Table 3, SimGCL: dataset -> what is left out -> the four METRICS
_TABLE_3 = {
    "ml-1m": {
        "L_U": (0.2338, 0.3331, 1.5347, 0.5948),
        "L_P": (0.1863, 0.2682, 4.8245, 3.7239),
        "L_C": (0.2300, 0.3262, 3.0013, 2.1789),
        "fine-tuning": (0.2211, 0.3188, 2.2226, 1.6998),
        "nothing": (0.2336, 0.3323, 3.1981, 2.3575),
    },
    "gowalla": {
        "L_U": (0.2543, 0.1677, 1.3452, 0.5639),
        "L_P": (0.17107, 0.1117, 6.8021, 3.3367),
        "L_C": (0.2507, 0.1633, 4.1979, 1.6625),
        "fine-tuning": (0.2398, 0.1563, 3.3232, 1.3047),
        "nothing": (0.2540, 0.1670, 4.3520, 1.8075),
    },
}

# Table 4: dataset -> method, or UnlearnRec's epochs of fine-tuning -> seconds
_TABLE_4 = {
    "ml-1m": {
        "Retrain": 1208.354,
        "GraphEraser": 993.064,
        "GIF": 8.278,
        "CEU": 6.943,
        0: 0.312,
        1: 7.034,
        2: 14.221,
        3: 21.517,
    },
    "yelp2018": {
        "Retrain": 3029.606,
        "GraphEraser": 1834.413,
        "GIF": 146.384,
        "CEU": 52.216,
        0: 0.468,
        1: 19.71,
        2: 39.201,
        3: 56.023,
    },
    "gowalla": {
        "Retrain": 839.07,
        "GraphEraser": 795.995,
        "GIF": 131.753,
        "CEU": 39.089,
        0: 0.432,
        1: 3.37,
        2: 6.734,
        3: 10.026,
    },
}

# Table 5, dataset and backbone not named: share of the edges -> the four METRICS
_TABLE_5 = {
    0.001: (0.2564, 0.1682, 4.8497, 1.1943),
    0.003: (0.2543, 0.1653, 5.8521, 1.1670),
    0.005: (0.2504, 0.1641, 6.1612, 1.0715),
    0.0075: (0.2462, 0.1634, 7.0485, 1.0401),
    0.01: (0.2411, 0.1615, 7.8845, 1.0283),
    0.015: (0.2321, 0.1598, 8.4836, 1.0306),
    0.02: (0.2302, 0.1557, 9.7556, 1.0288),
}
RATIOS = tuple(_TABLE_5)


def table_2(dataset, model, method):
    """The four metrics of a method, by name; empty where the paper has none."""
    if model not in MODELS:
        return {}
    row = _TABLE_2.get(dataset, {}).get(method)
    return _named(row and row[MODELS.index(model)])


def table_3(dataset, model, without):
    """The four metrics of UnlearnRec without a part of it, by name; empty where the paper has none."""
    return _named(_TABLE_3.get(dataset, {}).get(without)) if model == "SimGCL" else {}


def table_4(dataset, method):
    """Seconds of a method, or of UnlearnRec with so many epochs of fine-tuning; ``None`` where the paper has none."""
    return _TABLE_4.get(dataset, {}).get(method)


def table_5(ratio):
    """The four metrics of UnlearnRec when this share of the edges is forgotten, by name."""
    return _named(_TABLE_5.get(ratio))


def _named(values):
    return dict(zip(METRICS, values)) if values else {}
