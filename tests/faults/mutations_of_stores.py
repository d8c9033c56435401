"""Mechanisms of the brokers, switched off; see `mutation`."""

from __future__ import annotations

from typing import Final

from tests.faults.mutation import (
    DAMAGED,
    MEMORY,
    PROMISES,
    REDIS,
    STORE_HOLES,
    one,
)

STORE: Final = (
    one(
        "fencing: a settle under another token than the last one changes nothing (Redis)",
        "brokers/redis/settle.lua",
        "if not owner or string.sub(owner, 2) ~= token then",
        "if not owner then",
        REDIS + "test_stale_after_a_retry",
    ),
    one(
        "the same (memory)",
        "brokers/memory.py",
        "        if not job.holds(node, outcome.number):\n            return None\n",
        "",
        MEMORY + "test_stale_after_a_retry",
    ),
    one(
        "a lost acknowledgement is answered as before: tombstones (Redis)",
        "brokers/redis/_move.lua",
        "  if left <= 0 then return end\n",
        "  if left ~= nil then return end\n",
        STORE_HOLES
        + "test_hole_01_a_lost_acknowledgement_is_repeated_and_the_job_does_not_run_again",
    ),
    one(
        "the same (memory)",
        "brokers/_memory_queue.py",
        "        if until > now:\n",
        "        if until < now:\n",
        STORE_HOLES
        + "test_hole_01_a_lost_acknowledgement_is_repeated_and_the_job_does_not_run_again",
    ),
    one(
        "a fetch asked again with the same numbers answers the same deliveries (Redis)",
        "brokers/redis/fetch.lua",
        "if last and first <= (sound(last) or 0) then",
        "if false then",
        STORE_HOLES + "test_hole_03_a_fetch_whose_answer_was_lost_strands_nothing",
    ),
    one(
        "the same (memory)",
        "brokers/_memory_queue.py",
        "if self.last_number.get(node, -1) >= numbers.start:",
        "if self.last_number.get(node, -1) < -1:",
        STORE_HOLES + "test_hole_03_a_fetch_whose_answer_was_lost_strands_nothing",
    ),
    one(
        "an enqueue repeated with its call's name is accepted once (Redis)",
        "brokers/redis/_store.lua",
        "  if (old[2] or '') == (row[4] or '') and not is_gone(old[1], old[4]) then return false end\n",
        "",
        STORE_HOLES + "test_hole_03_an_enqueue_whose_answer_was_lost_is_no_conflict",
    ),
    one(
        "silence and steps of the clock: all leases are renewed first (Redis)",
        "brokers/redis/_lease.lua",
        "  return not last or ms < last or ms - last > lease\n",
        "  return not last\n",
        REDIS + "test_nobody_is_lost_when_nobody_was_heard",
        REDIS + "test_a_step_forward_of_the_clock_loses_nobody",
    ),
    one(
        "the same (memory)",
        "brokers/_memory_indexes.py",
        "return self._last_beat is None or not 0 <= now - self._last_beat <= length",
        "return self._last_beat is None",
        MEMORY + "test_nobody_is_lost_when_nobody_was_heard",
        MEMORY + "test_a_step_forward_of_the_clock_loses_nobody",
    ),
    one(
        "a node whose jobs were taken is lost: its next fetch says so (Redis)",
        "brokers/redis/fetch.lua",
        "if not score or tonumber(score) == 0 then return -1 end",
        "if not score then call('ZADD', P .. 'holders', now + 1000, node) end",
        REDIS + "test_a_lost_node_is_told_so_until_it_joins_again",
        REDIS + "test_in_slices_and_lost_from_the_first_one_on",
    ),
    one(
        "an active job that no set holds is found (Redis)",
        "brokers/redis/sweep.lua",
        "work = work + find_lost(limit)\n",
        "",
        STORE_HOLES + "test_hole_04_an_active_job_without_a_lease_is_found",
        DAMAGED + "test_a_long_ready_list_that_was_lost_is_made_again",
    ),
    one(
        "the same (memory)",
        "brokers/_memory_queue.py",
        "            self._take_back_strays,\n",
        "",
        STORE_HOLES + "test_hole_04_an_active_job_without_a_lease_is_found",
    ),
    one(
        "a cancel mark wins over what the run came to (Redis)",
        "brokers/redis/settle.lua",
        "local kind = job.u and CANCELLED or row[4]",
        "local kind = row[4]",
        REDIS + "test_the_mark_wins_over_every_outcome",
    ),
    one(
        "a deadline in the past is seen before the job is delivered (Redis)",
        "brokers/redis/fetch.lua",
        "elseif job.d and tonumber(job.d) <= now then",
        "elseif false then",
        STORE_HOLES + "test_hole_15_a_deadline_in_the_past_fails_once",
    ),
    one(
        "what drains a full Redis may run in it: `allow-oom`",
        "brokers/redis/settle.lua",
        "#!lua flags=allow-oom\n",
        "#!lua\n",
        "tests/faults/test_redis_outages.py::test_a_full_server_refuses_jobs_and_drains",
    ),
    one(
        "scripts that the server forgot are loaded again",
        "brokers/redis/scripts.py",
        "missing = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]",
        "missing: list[int] = []",
        "tests/faults/test_redis_outages.py::test_scripts_that_the_server_forgot_are_loaded_again",
    ),
    one(
        "a record that makes no sense harms its own job alone: numbers are looked at",
        "brokers/redis/_move.lua",
        "    if job[name] and not sound(job[name]) then job[name], job.damaged = nil, true end\n",
        "",
        DAMAGED + "test_a_damaged_field_harms_its_own_job_alone",
    ),
    one(
        "a counter that is no number stops nobody",
        "brokers/redis/_clock.lua",
        "redis.pcall('HINCRBY'",
        "redis.call('HINCRBY'",
        DAMAGED + "test_a_damaged_book_stops_nobody",
    ),
    one(
        "ready lists count even where their counters are lost",
        "brokers/redis/fetch.lua",
        "if wants_more() and is_more() then",
        "if false then",
        DAMAGED + "test_counters_that_were_lost_cost_no_ready_job",
    ),
    one(
        "an empty queue is said to be empty, whatever its counters say: no busy loop",
        "brokers/redis/fetch.lua",
        "if wants_more() then left = 0 end",
        "if false then left = 0 end",
        DAMAGED + "test_a_long_ready_list_that_was_lost_is_made_again",
    ),
    one(
        "suspects: the second loss of a job makes it one (Redis)",
        "brokers/redis/_take_back.lua",
        "local LOSSES_OF_SUSPECTS = 2",
        "local LOSSES_OF_SUSPECTS = 200",
        PROMISES + "test_a_container_that_is_killed_whole_twice_makes_suspects_of_what_it_held",
    ),
)
