"""Containers of block files: HDF5, zarr in a folder, zarr in a zip."""
