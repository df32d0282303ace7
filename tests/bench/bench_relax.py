"""Twisted graphene relaxed, against separate runs: ``python tests/bench/bench_relax.py [INDEX …]``.

Each row is a process of its own; time is CPU time, memory the peak. Needs ``moireio[relax]``.
"""

import json
import os
import subprocess
import sys
import tempfile

#: By index: fmax; energies before and after, eV; d at AA, AB and SP, Å; largest displacement in the
#: plane, Å; local twist at AA and AB, degrees (None: not known). By ASE on LAMMPS, separate runs.
ROWS = {
    "6,5": (1e-4, -2699.773814, -2699.963495, (3.5978, 3.3661, 3.3857), 0.0093, None),
    "17,16": (3e-4, -24238.628641, -24241.034686, (3.6135, 3.3686, 3.3835), 0.0775, None),
    "32,31": (1e-4, -88321.171928, -88335.043795, (3.6138, 3.3692, 3.3834), 0.2027, (2.397, 0.639)),
}


def main(indices):
    """Print one line of the table for each cell, and fail where a number is not that expected."""
    print(
        "| index | evaluations | CPU s | MB | E after, eV | fmax | d AA, AB, SP, Å | in plane, Å |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for index in indices:
        fmax, before, after, distances, inplane, twist = ROWS[index]
        with tempfile.TemporaryDirectory() as folder:
            moireio = [sys.executable, "-m", "moireio"]
            cell = os.path.join(folder, "cell.h5")
            words = ["build-twist", "graphene", "--index", *index.split(","), "-q", "-o", cell]
            subprocess.run([*moireio, *words], check=True)
            words = ["relax", cell, "--fmax", str(fmax), "--json", "-q", "-o", cell + ".out.h5"]
            process = subprocess.Popen([*moireio, *words], stdout=subprocess.PIPE)
            found = json.loads(process.stdout.read())
            _, status, usage = os.wait4(process.pid, 0)
        assert status == 0
        d = [found["distances_A"][name] for name in ("AA", "AB", "SP")]
        print(
            f"| {index} | {found['evaluations']} | {usage.ru_utime + usage.ru_stime:.1f} | "
            f"{usage.ru_maxrss / 1024:.0f} | {found['energy_after_eV']:.6f} | "
            f"{found['fmax']:.1e} | "
            f"{', '.join(f'{v:.4f}' for v in d)} | {max(found['inplane_A']):.4f} |",
            flush=True,
        )
        assert abs(found["energy_before_eV"] - before) < 1e-4
        assert -0.02 < found["energy_after_eV"] - after < 1e-3
        assert max(abs(a - b) for a, b in zip(d, distances, strict=True)) < 2e-3
        assert abs(found["distances_A"]["BA"] - found["distances_A"]["AB"]) < 2e-3
        assert abs(max(found["inplane_A"]) - inplane) < 2e-3
        assert found["group_before"] == found["group_after"] == "P622"
        if twist is not None:
            local = [found["local_twist_deg"][name] for name in ("AA", "AB")]
            assert max(abs(a - b) for a, b in zip(local, twist, strict=True)) < 0.02
            print(f"local twist at AA, AB: {local[0]:.4f}, {local[1]:.4f} degrees")


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main(sys.argv[1:] or ROWS)
