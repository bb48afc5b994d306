"""The rules of admit: one small file each, pure state on the loop's clock. The stages ask them and do the waiting."""
