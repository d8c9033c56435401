"""What happens when a mechanism is switched off: small breaks of the code, and the tests that must
then fail. `make mutations` tries every one of them; docs/reliability.md has the result.

Each is applied to a copy of the repository, alone. `Edit.old` stands in its file exactly once; that it
still does, and that the tests named here exist, is a test of the suite.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Edit(NamedTuple):
    file: str
    old: str
    new: str


class Mutation(NamedTuple):
    mechanism: str
    """what is switched off, in words"""
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
    """as pytest takes them; at least one must fail"""


REDIS: Final = "tests/conformance/test_redis.py::TestOverUnixSocket::"
MEMORY: Final = "tests/conformance/test_memory.py::TestMemoryBroker::"
DEATHS: Final = "tests/process/test_deaths.py::"
HOLES: Final = "tests/process/test_asynq_holes.py::"
STORE_HOLES: Final = "tests/faults/test_asynq_holes.py::"
PROMISES: Final = "tests/process/test_promises.py::"
DAMAGED: Final = "tests/faults/test_damaged_redis.py::"
HOSTILE: Final = "tests/faults/test_hostile_children.py::"
NODE: Final = "tests/process/test_redis_node.py::"


def _one(mechanism: str, file: str, old: str, new: str, *tests: str) -> Mutation:
    return Mutation(mechanism, (Edit(file, old, new),), tests)


LIVES_ON: Final = Edit(
    "taskrunner/worker/main.py",
    "        if not self._settings.embedded:\n            os._exit(0)\n",
    "        if not self._settings.embedded:\n            return\n",
)
"""A child that goes on when its pipe is closed: else it ends by itself, whatever others do."""

STORE: Final = (
    _one(
        "fencing: a settle under another token than the last one changes nothing (Redis)",
        "brokers/redis/settle.lua",
        "if not owner or string.sub(owner, 2) ~= token then",
        "if not owner then",
        REDIS + "test_stale_after_a_retry",
    ),
    _one(
        "the same (memory)",
        "brokers/memory.py",
        "        if not job.holds(node, outcome.number):\n            return None\n",
        "",
        MEMORY + "test_stale_after_a_retry",
    ),
    _one(
        "a lost acknowledgement is answered as before: tombstones (Redis)",
        "brokers/redis/_move.lua",
        "  if left <= 0 then return end\n",
        "  if left ~= nil then return end\n",
        STORE_HOLES
        + "test_hole_01_a_lost_acknowledgement_is_repeated_and_the_job_does_not_run_again",
    ),
    _one(
        "the same (memory)",
        "brokers/_memory_queue.py",
        "        if until > now:\n",
        "        if until < now:\n",
        STORE_HOLES
        + "test_hole_01_a_lost_acknowledgement_is_repeated_and_the_job_does_not_run_again",
    ),
    _one(
        "a fetch asked again with the same numbers answers the same deliveries (Redis)",
        "brokers/redis/fetch.lua",
        "if last and first <= (sound(last) or 0) then",
        "if false then",
        STORE_HOLES + "test_hole_03_a_fetch_whose_answer_was_lost_strands_nothing",
    ),
    _one(
        "the same (memory)",
        "brokers/_memory_queue.py",
        "if self.last_number.get(node, -1) >= numbers.start:",
        "if self.last_number.get(node, -1) < -1:",
        STORE_HOLES + "test_hole_03_a_fetch_whose_answer_was_lost_strands_nothing",
    ),
    _one(
        "an enqueue repeated with its call's name is accepted once (Redis)",
        "brokers/redis/_store.lua",
        "  if (old[2] or '') == (row[4] or '') and not is_gone(old[1], old[4]) then return false end\n",
        "",
        STORE_HOLES + "test_hole_03_an_enqueue_whose_answer_was_lost_is_no_conflict",
    ),
    _one(
        "silence and steps of the clock: all leases are renewed first (Redis)",
        "brokers/redis/_lease.lua",
        "  return not last or ms < last or ms - last > lease\n",
        "  return not last\n",
        REDIS + "test_nobody_is_lost_when_nobody_was_heard",
        REDIS + "test_a_step_forward_of_the_clock_loses_nobody",
    ),
    _one(
        "the same (memory)",
        "brokers/_memory_indexes.py",
        "return self._last_beat is None or not 0 <= now - self._last_beat <= length",
        "return self._last_beat is None",
        MEMORY + "test_nobody_is_lost_when_nobody_was_heard",
        MEMORY + "test_a_step_forward_of_the_clock_loses_nobody",
    ),
    _one(
        "a node whose jobs were taken is lost: its next fetch says so (Redis)",
        "brokers/redis/fetch.lua",
        "if not score or tonumber(score) == 0 then return -1 end",
        "if not score then call('ZADD', P .. 'holders', now + 1000, node) end",
        REDIS + "test_a_lost_node_is_told_so_until_it_joins_again",
        REDIS + "test_in_slices_and_lost_from_the_first_one_on",
    ),
    _one(
        "an active job that no set holds is found (Redis)",
        "brokers/redis/sweep.lua",
        "work = work + find_lost(limit)\n",
        "",
        STORE_HOLES + "test_hole_04_an_active_job_without_a_lease_is_found",
        DAMAGED + "test_a_long_ready_list_that_was_lost_is_made_again",
    ),
    _one(
        "the same (memory)",
        "brokers/_memory_queue.py",
        "            self._take_back_strays,\n",
        "",
        STORE_HOLES + "test_hole_04_an_active_job_without_a_lease_is_found",
    ),
    _one(
        "a cancel mark wins over what the run came to (Redis)",
        "brokers/redis/settle.lua",
        "local kind = job.u and CANCELLED or row[4]",
        "local kind = row[4]",
        REDIS + "test_the_mark_wins_over_every_outcome",
    ),
    _one(
        "a deadline in the past is seen before the job is delivered (Redis)",
        "brokers/redis/fetch.lua",
        "elseif job.d and tonumber(job.d) <= now then",
        "elseif false then",
        STORE_HOLES + "test_hole_15_a_deadline_in_the_past_fails_once",
    ),
    _one(
        "what drains a full Redis may run in it: `allow-oom`",
        "brokers/redis/settle.lua",
        "#!lua flags=allow-oom\n",
        "#!lua\n",
        "tests/faults/test_redis_outages.py::test_a_full_server_refuses_jobs_and_drains",
    ),
    _one(
        "scripts that the server forgot are loaded again",
        "brokers/redis/scripts.py",
        "missing = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]",
        "missing: list[int] = []",
        "tests/faults/test_redis_outages.py::test_scripts_that_the_server_forgot_are_loaded_again",
    ),
    _one(
        "a record that makes no sense harms its own job alone: numbers are looked at",
        "brokers/redis/_move.lua",
        "    if job[name] and not sound(job[name]) then job[name], job.damaged = nil, true end\n",
        "",
        DAMAGED + "test_a_damaged_field_harms_its_own_job_alone",
    ),
    _one(
        "a counter that is no number stops nobody",
        "brokers/redis/_clock.lua",
        "redis.pcall('HINCRBY'",
        "redis.call('HINCRBY'",
        DAMAGED + "test_a_damaged_book_stops_nobody",
    ),
    _one(
        "ready lists count even where their counters are lost",
        "brokers/redis/fetch.lua",
        "if wants_more() and is_more() then",
        "if false then",
        DAMAGED + "test_counters_that_were_lost_cost_no_ready_job",
    ),
    _one(
        "an empty queue is said to be empty, whatever its counters say: no busy loop",
        "brokers/redis/fetch.lua",
        "if wants_more() then left = 0 end",
        "if false then left = 0 end",
        DAMAGED + "test_a_long_ready_list_that_was_lost_is_made_again",
    ),
    _one(
        "suspects: the second loss of a job makes it one (Redis)",
        "brokers/redis/_take_back.lua",
        "local LOSSES_OF_SUSPECTS = 2",
        "local LOSSES_OF_SUSPECTS = 200",
        PROMISES + "test_a_container_that_is_killed_whole_twice_makes_suspects_of_what_it_held",
    ),
)

NODES: Final = (
    _one(
        "the start page tells what of a dead child had started",
        "taskrunner/supervisor/burial.py",
        "finished, running, _ = child.split()",
        "finished, running = [], list(child.held.values())",
        DEATHS + "test_work_behind_a_killed_job_is_unpenalised",
    ),
    _one(
        "a take-back is a question: what is named has been removed",
        "taskrunner/worker/listener.py",
        "                row, _ = self.rows.pop()\n",
        "                row, _ = self.rows[-1 - len(numbers)]\n",
        "tests/process/test_worker_child.py::test_what_has_not_started_is_given_back_and_never_runs",
    ),
    Mutation(
        "a child that is to be killed is dead before its jobs are given back",
        (
            Edit(
                "taskrunner/supervisor/pool.py",
                "            self._last_words.kill(child)\n",
                "            self.child_exited(Exit(child.number, child.pid, -9))\n",
            ),
            LIVES_ON,
        ),
        (
            HOLES + "test_hole_21_a_forced_shutdown_gives_back_only_what_has_stopped",
            HOLES + "test_hole_02_a_timed_out_handler_is_stopped_and_never_overlaps_itself",
        ),
    ),
    _one(
        "a task that does not stop is killed after the grace",
        "taskrunner/supervisor/timelimits.py",
        "        if now - max(at, started) >= self._grace_s:\n",
        "        if now - max(at, started) >= 1e9:\n",
        HOLES + "test_hole_02_a_timed_out_handler_is_stopped_and_never_overlaps_itself",
    ),
    _one(
        "an interrupt is disarmed with its job: a late one hits no neighbour",
        "taskrunner/worker/interrupts.py",
        "        self._armed = 0\n        if self._wanted:\n            self._wanted.pop(number, None)\n",
        "        pass\n",
        "tests/process/test_worker_interrupts.py::"
        "test_hundreds_of_interrupts_about_the_end_of_their_job_hit_no_neighbour[1-spin-1]",
    ),
    _one(
        "a node that could not renew its lease starts nothing more",
        "taskrunner/worker/startpage.py",
        "        return monotonic_ns() < self._words[0]\n",
        "        return True\n",
        NODE + "test_a_stopped_node_loses_its_jobs_and_starts_none_of_them_later",
        PROMISES + "test_a_node_that_was_cut_off_for_an_hour_changes_nothing_when_it_is_back",
    ),
    _one(
        "outcomes are kept while the broker is away, and settled when it is back",
        "taskrunner/supervisor/settle.py",
        "        finally:\n            self._put_back(left)\n",
        "        finally:\n            pass\n",
        "tests/unit/supervisor",
        NODE + "test_a_broker_outage_is_weather",
    ),
    _one(
        "whoever finds the broker away repeats after a pause that grows",
        "taskrunner/supervisor/outage.py",
        "if self._stopping.wait(wait * (0.5 + random.random() / 2)):",
        "if self._stopping.wait(0):",
        HOLES + "test_hole_17_while_redis_is_down_nobody_loops",
    ),
    _one(
        "strays are given back after an outage",
        "taskrunner/supervisor/chores.py",
        "    if strays:\n",
        "    if False:\n",
        "tests/process/test_redis_failover.py",
        "tests/process/test_crashpoints.py::test_a_death_after_an_outage_loses_nothing",
        "tests/faults/test_redis_dies_at_each_call.py",
    ),
    _one(
        "a queue whose only node is gone is looked after by the others",
        "taskrunner/supervisor/membership.py",
        "            self._orphans = tuple(orphans)\n",
        "",
        "tests/faults/test_orphans.py",
    ),
    _one(
        "what a dead node of this host served is taken back at once, also by who does not serve it",
        "taskrunner/scheduler/scheduler.py",
        "        queues = [*queues, *theirs.difference(queues)]\n",
        "",
        "tests/faults/test_orphans.py",
    ),
    Mutation(
        "nothing that a killed supervisor started outlives it",
        (
            Edit(
                "taskrunner/supervisor/forkserver.py",
                "        for pid in self._children:\n"
                "            with contextlib.suppress(ProcessLookupError):\n"
                "                os.kill(pid, signal.SIGKILL)\n"
                "        for pid in self._children:\n"
                "            with contextlib.suppress(ChildProcessError):\n"
                "                os.waitpid(pid, 0)\n",
                "        pass\n",
            ),
            Edit("taskrunner/worker/main.py", "    _die_with_parent()\n    for", "    for"),
            LIVES_ON,
        ),
        ("tests/process/test_start.py::test_a_killed_supervisor_leaves_no_process",),
    ),
    _one(
        "a stopping node gives back what has not started",
        "taskrunner/supervisor/supervisor.py",
        "        self._dispatcher.give_back()\n",
        "",
        DEATHS + "test_term_gives_back_what_is_unstarted_and_lets_the_running_end",
    ),
    _one(
        "a job that kills its process again and again ends",
        "taskrunner/retry.py",
        "    if crashes_before + 1 >= max_crashes:\n",
        "    if crashes_before + 1 >= 1000:\n",
        DEATHS + "test_a_job_that_kills_its_process_fails_as_crashed",
    ),
    _one(
        "a suspect runs alone",
        "taskrunner/supervisor/dispatch.py",
        "return self._suspects.waiting if held.delivery.suspect else self._backlog",
        "return self._backlog",
        "tests/process/test_suspects.py::test_of_four_in_one_child_the_one_that_kills_is_convicted",
        PROMISES + "test_a_container_that_is_killed_whole_twice_makes_suspects_of_what_it_held",
    ),
    _one(
        "what waits behind a slow job goes to a neighbour that idles",
        "taskrunner/supervisor/dispatch.py",
        "                if not child.taking and self._is_stuck(child, now, idle):\n",
        "                if False:\n",
        "tests/process/test_classics.py::"
        "test_classic_06_nothing_waits_behind_a_long_job_while_a_neighbour_idles",
    ),
    _one(
        "a job of a task that nobody knows waits for a node that does",
        "taskrunner/supervisor/plan.py",
        "    def found_parked(self, queue: str, keys: Iterable[str]) -> None:\n",
        "    def found_parked(self, queue: str, keys: Iterable[str]) -> None:\n        return\n\n"
        "    def _found_parked(self, queue: str, keys: Iterable[str]) -> None:\n",
        NODE + "test_a_job_of_an_unknown_task_waits_for_a_node_that_knows_it",
    ),
    _one(
        "a mailbox that hears nothing asks whether anybody is there",
        "brokers/redis/mailbox.py",
        '        connection.send_packed_command(pack(connection, [("PING",)]))\n'
        "        self._asked_at = now\n",
        "",
        "tests/faults/test_redis_silence.py",
    ),
)

BAD_INPUT: Final = (
    _one(
        "what a child says is looked at before it is believed",
        "taskrunner/supervisor/shapes.py",
        "    kind, *values = frame\n",
        "    return frame\n    kind, *values = frame\n",
        HOSTILE + "test_a_child_that_speaks_nonsense_is_replaced",
    ),
    _one(
        "a child that asks without end has to wait",
        "taskrunner/supervisor/pool.py",
        "        if frame[0] != Kind.CALL or not child.channel.is_open:\n            return False\n",
        "        return False\n",
        HOSTILE + "test_a_child_that_asks_without_end_is_not_heard_until_it_is_answered",
        HOSTILE + "test_a_child_that_does_not_read_its_answers_is_not_heard",
    ),
    _one(
        "a job is settled under the name it was given out by",
        "taskrunner/supervisor/dispatch.py",
        "                row[:2] = held.delivery[:2]\n",
        "",
        HOSTILE + "test_a_report_under_another_name_ends_the_job_it_was_given_for",
    ),
    _one(
        "more than a frame holds goes in several",
        "taskrunner/supervisor/child.py",
        "for part in [rows] if self.bytes - before <= MOST_IN_FRAME else _parts(rows):",
        "for part in [rows]:",
        HOSTILE + "test_more_than_a_frame_holds_goes_in_several",
    ),
    _one(
        "the memory that a child shares cannot be taken away",
        "taskrunner/supervisor/child.py",
        "        self.page.seal()\n",
        "",
        HOSTILE + "test_a_child_cannot_take_the_shared_memory_from_under_its_supervisor",
    ),
    _one(
        "a frame's length is believed up to a limit",
        "taskrunner/frames.py",
        "                if size > MAX_FRAME:\n",
        "                if size > 2**40:\n",
        "tests/faults/test_fuzz_frames.py::"
        "test_a_length_beyond_the_limit_is_refused_before_anything_is_kept",
    ),
    _one(
        "options of a foreign header have to make sense",
        "taskrunner/message.py",
        "    if type(value) not in (int, float) or not 0 <= value <= 1000 * LONGEST:\n",
        "    if type(value) not in (int, float):\n",
        "tests/faults/test_fuzz_wire.py::test_options_that_make_no_sense_are_no_message",
    ),
    _one(
        "an unreadable message fails its own job",
        "taskrunner/supervisor/intake.py",
        "        except MessageError as error:\n",
        "        except KeyError as error:\n",
        NODE + "test_garbage_in_a_record_fails_that_job_and_no_other",
        "tests/faults/test_fuzz_wire.py::test_an_intake_settles_what_it_cannot_run",
    ),
)

MUTATIONS: Final = (*STORE, *NODES, *BAD_INPUT)
