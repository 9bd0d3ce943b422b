"""What every script's process needs: how it starts, is interrupted and fails, and which devices it takes."""
