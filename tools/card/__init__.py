"""Custodians with smart cards, played with real gpg, pinentry and pcscd; the cards are software."""
