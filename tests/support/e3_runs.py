"""Result folders of DeepH-E3, written from networks of moireio."""

import json
import os

import torch

from moireio.network.wigner import coupling


def export(model, folder, generation="0.5"):
    """Write a network as DeepH-E3 would leave it."""
    network, state = model.network, {}

    def put(name, value):
        state[name] = value.detach().clone()

    put("embedding.weight", network.embedding.flatten())
    for name, module in (("basis", network.radial), ("distance_expansion", network.expansion)):
        put(f"{name}.offsets", module.offsets)
        put(f"{name}.width", module.width)
    for part in ("weight", "bias"):
        put(f"lin_edge.{part}", getattr(network.lin_edge, part))
        state[f"lin_node.{part}"] = torch.zeros(1)
    for number, block in enumerate(network.blocks):
        for half, name in ((block.node, "node"), (block.edge, "edge")):
            prefix = f"{name}_update_blocks.{number}"
            parts = {"lin_pre": half.lin_pre, "lin_post": half.lin_post, "norm": half.norm}
            for key, module in parts.items():
                put(f"{prefix}.{key}.weight", module.weight)
                put(f"{prefix}.{key}.bias", module.bias)
            tp = half.conv.tp
            for kind, flat, sizes in (
                (1, tp.weights1, [a * b for a, b in tp.sizes]),
                (2, tp.weights2, [b for _, b in tp.sizes]),
            ):
                for k, piece in enumerate(flat.split(sizes)):
                    put(f"{prefix}.conv.tp.weights{kind}.{k}", piece)
            for key, value in half.conv.fc.state_dict().items():
                put(f"{prefix}.conv.fc.{key}", value)
            put(f"{prefix}.sc.weight", half.sc.weight)
            if half.skip is not None:
                put(f"{prefix}.skip_connect.sc.weight", half.skip.weight)
            buffer = "main_out" if generation == "0.3.5" else "main_left_right"
            value = torch.tensor(coupling(1, 2, 2, generation != "0.5"))
            state[f"{prefix}.conv.tp.tp._compiled_{buffer}._w3j_1_2_2"] = value.float()
            state[f"{prefix}.conv.tp.tp.output_mask"] = torch.ones(4)
    os.makedirs(folder / "src")
    torch.save({"epoch": 3, "state_dict": state}, folder / "best_model.pkl")
    s, t = network.settings, model.targets
    ini = f"""[basic]
dtype = float ; a comment
[network]
cutoff_radius = {s.cutoff}
spherical_harmonics_lmax = {s.harmonics_lmax}
irreps_embed = {s.embed_node}
irreps_mid = {s.mid_node}
num_blocks = {s.blocks}
"""
    (folder / "src" / "train.ini").write_text(ini)
    info = {"spinful": t.spinful, "index_to_Z": list(t.numbers), "orbital_types": t.shells}
    (folder / "src" / "dataset_info.json").write_text(json.dumps(info))
    blocks = [
        {f"{t.numbers[a]} {t.numbers[b]}": shells for (a, b), shells in target.items()}
        for target in t.targets
    ]
    (folder / "src" / "target_blocks.json").write_text(json.dumps(blocks))
