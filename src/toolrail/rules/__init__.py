"""The rules that a definition must keep: why each stands, code that breaks it and the same code mended.

Every `DefinitionError` carries one of these ids, and `toolrail rule ID` prints what stands here. The first digit says
what a rule is about: 1 tools and toolsets, 2 arguments and schemas, 3 settings and stores, 4 models and agents.
"""

from __future__ import annotations

from collections.abc import Mapping

from toolrail.rules.agents import AGENTS
from toolrail.rules.arguments import ARGUMENTS
from toolrail.rules.rule import Rule as Rule
from toolrail.rules.settings import SETTINGS
from toolrail.rules.tools import TOOLS

RULES: Mapping[str, Rule] = {rule.id: rule for rule in (*TOOLS, *ARGUMENTS, *SETTINGS, *AGENTS)}
"""All rules, by id."""
