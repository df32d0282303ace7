"""Operations of the crystal."""
