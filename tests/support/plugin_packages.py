"""Distributions of other people, made in a folder that goes onto the search path."""

import os


def install(folder, name, entry_points, modules=None, summary="", version="1.0"):
    """Write a distribution as an installer would: its modules and its metadata.

    `entry_points` is {group: {name: value}}, `modules` {file name: text}.
    """
    info = os.path.join(folder, f"{name.replace('-', '_')}-{version}.dist-info")
    os.makedirs(info)
    with open(os.path.join(info, "METADATA"), "w", encoding="utf-8") as stream:
        stream.write(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        stream.write(f"Summary: {summary}\n" if summary else "")
    with open(os.path.join(info, "entry_points.txt"), "w", encoding="utf-8") as stream:
        for group, rows in entry_points.items():
            stream.write(f"[{group}]\n")
            stream.writelines(f"{key} = {value}\n" for key, value in rows.items())
    for file, text in (modules or {}).items():
        with open(os.path.join(folder, file), "w", encoding="utf-8") as stream:
            stream.write(text)
