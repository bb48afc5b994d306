"""`make chat`: your own questions to the shop's agent. Each call is shown as it happens; you approve cancellations."""

from __future__ import annotations

import sys
import textwrap
import time

from examples.shop.data import PAID_ORDER, SHIPPED_ORDER
from examples.shop.demo_model import PRICES, chosen_model
from examples.shop.demo_rail import INSTRUCTIONS, LOGGED_IN, RECORD, shop_rail
from examples.shop.open import open_shop
from toolrail.agent import Agent
from toolrail.cli.repl import HELP, Chat, converse
from toolrail.errors import DefinitionError, RunError


def main() -> int:
    """Chats until the input ends; 1 when the model could not be asked."""
    try:
        chosen = chosen_model()
        agent = Agent(chosen.model, shop_rail(), instructions=INSTRUCTIONS, prices=PRICES)
        print(textwrap.fill(f"model: {chosen.says}", 90, subsequent_indent="       "))
        print(f"you:   customer {LOGGED_IN.id}, with the orders {SHIPPED_ORDER} (shipped) and {PAID_ORDER} (paid)")
        print('ask:   "Where is my order?", "Find a head torch. What is it, sent to DE?", "Cancel ..."')
        print(f"keys:  {HELP}")
        print(f"       Every call is kept in {RECORD}.")
        return converse(Chat(agent, f"chat-{time.time_ns():x}", LOGGED_IN, open_shop()))
    except (DefinitionError, RunError, ValueError) as error:
        print(f"chat: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
