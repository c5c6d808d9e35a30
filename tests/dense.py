"""Independent references: dense float64 numpy, written from the formulas."""

import numpy as np


def adjacency(users, items, n_users, n_items):
    """``D^-1/2 A D^-1/2``, users first; a node without edges has a row of zeros."""
    n_nodes = n_users + n_items
    matrix = np.zeros((n_nodes, n_nodes))
    matrix[np.asarray(users), n_users + np.asarray(items)] = 1
    matrix += matrix.T
    degrees = matrix.sum(axis=1)
    scale = np.divide(1, np.sqrt(degrees), out=np.zeros(n_nodes), where=degrees > 0)
    return scale[:, None] * matrix * scale


def graph_adjacency(graph):
    return adjacency(graph.users.numpy(), graph.items.numpy(), graph.n_users, graph.n_items)


def mean_propagation(matrices, table):
    """Mean of the table and of its products with the first, the first two, ... matrices."""
    layers = [table]
    for matrix in matrices:
        layers.append(matrix @ layers[-1])
    return np.mean(layers, axis=0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def info_nce_terms(anchors, candidates, positives, temperature):
    """``-log softmax`` of each anchor's positive by cosine similarity, shape ``(B,)``."""
    anchors = anchors / np.linalg.norm(anchors, axis=1, keepdims=True)
    candidates = candidates / np.linalg.norm(candidates, axis=1, keepdims=True)
    logits = anchors @ candidates.T / temperature
    return np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(anchors)), positives]


def gradient(function, x, step=1e-5):
    """Central differences of a scalar function at ``x``."""
    result = np.zeros_like(x)
    for place in np.ndindex(*x.shape):
        up, down = x.copy(), x.copy()
        up[place] += step
        down[place] -= step
        result[place] = (function(up) - function(down)) / (2 * step)
    return result
