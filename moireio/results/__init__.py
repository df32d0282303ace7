"""What commands compute and a block file keeps."""
