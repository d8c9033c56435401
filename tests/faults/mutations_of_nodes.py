"""Mechanisms of nodes and what they read, switched off; see `mutation`."""

from __future__ import annotations

from typing import Final

from tests.faults.mutation import (
    DEATHS,
    HOLES,
    HOSTILE,
    LIVES_ON,
    NODE,
    PROMISES,
    Edit,
    Mutation,
    one,
)

POISON: Final = (
    "tests/process/test_poison.py::"
    "test_a_job_that_takes_down_every_node_that_runs_it_is_convicted_and_nobody_else"
)
RELOAD: Final = "tests/process/test_reload.py::"

NODES: Final = (
    one(
        "the start page tells what of a dead child had started",
        "taskrunner/supervisor/burial.py",
        "finished, running, _ = child.split()",
        "finished, running = [], list(child.held.values())",
        DEATHS + "test_work_behind_a_killed_job_is_unpenalised",
    ),
    one(
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
    one(
        "a task that does not stop is killed after the grace",
        "taskrunner/supervisor/timelimits.py",
        "        if now - max(at, started) >= self._grace_s:\n",
        "        if now - max(at, started) >= 1e9:\n",
        HOLES + "test_hole_02_a_timed_out_handler_is_stopped_and_never_overlaps_itself",
    ),
    one(
        "an interrupt is disarmed with its job: a late one hits no neighbour",
        "taskrunner/worker/interrupts.py",
        "        self._armed = 0\n        if self._wanted:\n            self._wanted.pop(number, None)\n",
        "        pass\n",
        "tests/process/test_worker_interrupts.py::"
        "test_hundreds_of_interrupts_about_the_end_of_their_job_hit_no_neighbour[1-spin-1]",
        "tests/unit/worker/test_interrupts.py::test_a_thousand_late_interrupts_hit_no_neighbour",
    ),
    one(
        "a node that could not renew its lease starts nothing more",
        "taskrunner/worker/startpage.py",
        "        return monotonic_ns() < self._words[0]\n",
        "        return True\n",
        NODE + "test_a_stopped_node_loses_its_jobs_and_starts_none_of_them_later",
        PROMISES + "test_a_node_that_was_cut_off_for_an_hour_changes_nothing_when_it_is_back",
    ),
    one(
        "outcomes are kept while the broker is away, and settled when it is back",
        "taskrunner/supervisor/settle.py",
        "        finally:\n            self._put_back(left)\n",
        "        finally:\n            pass\n",
        "tests/unit/supervisor",
        NODE + "test_a_broker_outage_is_weather",
    ),
    one(
        "whoever finds the broker away repeats after a pause that grows",
        "taskrunner/supervisor/outage.py",
        "if self._stopping.wait(wait * (0.5 + random.random() / 2)):",
        "if self._stopping.wait(0):",
        HOLES + "test_hole_17_while_redis_is_down_nobody_loops",
    ),
    one(
        "strays are given back after an outage",
        "taskrunner/supervisor/chores.py",
        "    if strays:\n",
        "    if False:\n",
        "tests/process/test_redis_failover.py",
        "tests/process/test_crashpoints.py::test_a_death_after_an_outage_loses_nothing",
        "tests/faults/test_redis_dies_at_each_call.py",
    ),
    one(
        "a queue whose only node is gone is looked after by the others",
        "taskrunner/supervisor/membership.py",
        "            self._orphans = tuple(orphans)\n",
        "",
        "tests/faults/test_orphans.py",
    ),
    one(
        "what a dead node of this host served is taken back at once, also by who does not serve it",
        "taskrunner/scheduler/house.py",
        "        queues = [*kept, *theirs.difference(kept)]\n",
        "        queues = list(kept)\n",
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
    Mutation(
        "a stopping node gives back what has not started",
        # The second is what asks each child for it, too.
        (
            Edit("taskrunner/supervisor/farewell.py", "        parts.dispatcher.give_back()\n", ""),
            Edit(
                "taskrunner/supervisor/farewell.py",
                "            pool.retire(child)\n        await until(",
                "            pass\n        await until(",
            ),
        ),
        (DEATHS + "test_term_gives_back_what_is_unstarted_and_lets_the_running_end",),
    ),
    one(
        "a job that kills its process again and again ends",
        "taskrunner/retry.py",
        "    if crashes_before + 1 >= max_crashes:\n",
        "    if crashes_before + 1 >= 1000:\n",
        DEATHS + "test_a_job_that_kills_its_process_fails_as_crashed",
    ),
    one(
        "a suspect runs alone",
        "taskrunner/supervisor/lines.py",
        "return self.suspects.waiting if held.delivery.suspect else self.backlog",
        "return self.backlog",
        "tests/process/test_suspects.py::test_of_four_in_one_child_the_one_that_kills_is_convicted",
        PROMISES + "test_a_container_that_is_killed_whole_twice_makes_suspects_of_what_it_held",
    ),
    one(
        "what waits behind a slow job goes to a neighbour that idles",
        "taskrunner/supervisor/dispatch.py",
        "                if not child.taking and self._portions.are_stuck(child, now, idle=idle):\n",
        "                if False:\n",
        "tests/process/test_classics.py::"
        "test_classic_06_nothing_waits_behind_a_long_job_while_a_neighbour_idles",
    ),
    one(
        "a job that takes nodes down gets one to itself",
        "taskrunner/supervisor/seclusion.py",
        "        return is_dangerous and delivery.number != self._given_up\n",
        "        return False\n",
        POISON,
    ),
    one(
        "alone on a node means that nothing else runs",
        "taskrunner/supervisor/seclusion.py",
        "    return all(len(child.held) == len(child.blocked) for child in children)\n",
        "    return True\n",
        "tests/unit/supervisor/test_seclusion.py::"
        "test_it_waits_until_nothing_runs_and_the_store_knows_that_it_is_alone",
    ),
    one(
        "a job of a task that nobody knows waits for a node that does",
        "taskrunner/supervisor/plan.py",
        "    def found_parked(self, queue: str, keys: Iterable[str]) -> None:\n",
        "    def found_parked(self, queue: str, keys: Iterable[str]) -> None:\n        return\n\n"
        "    def _found_parked(self, queue: str, keys: Iterable[str]) -> None:\n",
        NODE + "test_a_job_of_an_unknown_task_waits_for_a_node_that_knows_it",
    ),
    Mutation(
        "a message of a later version waits for a node that reads it",
        (
            Edit(
                "taskrunner/message.py",
                "    if VERSION < version <= LATEST_IMAGINED:\n        raise _later(version)\n",
                "",
            ),
            Edit(
                "taskrunner/message.py",
                "    return wire[1] if VERSION < wire[1] <= LATEST_IMAGINED else None\n",
                "    return None\n",
            ),
        ),
        (NODE + "test_a_message_of_a_later_version_waits_and_is_not_destroyed",),
    ),
    one(
        "what came with a bell that nobody heard is given back",
        "taskrunner/supervisor/handover.py",
        "            found = [(key, number) for key, number in held if number not in mine]\n",
        "            found: list[Held] = []\n",
        "tests/process/test_handover.py::test_a_lost_bell_costs_seconds_and_no_job",
    ),
    one(
        "a bell that comes when its job was given back is for nothing",
        "taskrunner/supervisor/handover.py",
        "            if delivery.number not in self._known:\n",
        "            if True:\n",
        "tests/unit/supervisor/test_handover.py::test_what_is_given_back_is_not_taken_any_more",
    ),
    one(
        "a node without room gives back what came with a bell",
        "taskrunner/supervisor/fetch.py",
        "            self._dispatcher.decline(delivery)\n",
        "            pass\n",
        "tests/process/test_handover.py::test_a_node_that_is_busy_does_not_keep_it",
    ),
    one(
        "a stop takes bounded time, though the broker does not answer",
        "taskrunner/supervisor/farewell.py",
        "            if time <= 0:\n                break\n            others",
        "            time = 1.0\n            others",
        "tests/process/test_stop_orders.py::test_a_broker_that_does_not_answer_keeps_nobody",
    ),
    one(
        "who is killed without its fork server is seen dead before its jobs go back",
        "taskrunner/supervisor/farewell.py",
        "            await pool.bury_all(pool.children)\n",
        "            pass\n",
        "tests/process/test_stop_orders.py::test_a_fork_server_that_stands_still_keeps_nobody",
    ),
    one(
        "a process that is too many finishes what it runs",
        "taskrunner/supervisor/pool.py",
        "            self._dispatcher.close(child)\n\n",
        "            self.kill(child)\n\n",
        "tests/process/test_sizes.py::test_by_signal_and_by_command_and_what_runs_is_finished",
    ),
    one(
        "a child of older code ends only when one of the new is ready",
        "taskrunner/supervisor/rollover.py",
        "            child = await self._one_more(newer)\n",
        "            self._pool.retire(self._others(newer)[0])\n"
        "            child = await self._one_more(newer)\n",
        RELOAD + "test_code_that_cannot_be_imported_or_started_changes_nothing",
    ),
    one(
        "a job goes to a child whose code declares its task",
        "taskrunner/supervisor/dispatch.py",
        "        if not self._is_mixed:\n            return self._portions",
        "        if True:\n            return self._portions",
        "tests/unit/supervisor/test_mixture.py",
    ),
    one(
        "a child that is silent and stopped, or hangs, is killed",
        "taskrunner/supervisor/checkup.py",
        "        if sentence is not None:\n",
        "        if False:\n",
        "tests/process/test_health.py::test_each_silent_child_is_judged_by_what_it_does",
    ),
    one(
        "a child that has run its jobs is replaced",
        "taskrunner/supervisor/renewal.py",
        "            if child.jobs_left <= 0:\n",
        "            if False:\n",
        "tests/process/test_renewal.py::test_no_process_runs_more_jobs_than_it_may",
    ),
    one(
        "more processes where work waits",
        "taskrunner/supervisor/autoscale.py",
        "    return min(rules.high, sight.size + min(step, useful)), Memory(pressed_since=sight.now)\n",
        "    return sight.size, Memory(pressed_since=sight.now)\n",
        "tests/process/test_sizes.py::test_it_follows_the_load_and_kills_nothing",
    ),
    one(
        "a mailbox that hears nothing asks whether anybody is there",
        "brokers/redis/mailbox.py",
        '        connection.send([("PING",)])\n        self._asked_at = now\n',
        "",
        "tests/faults/test_redis_silence.py",
    ),
)

BAD_INPUT: Final = (
    one(
        "what a child says is looked at before it is believed",
        "taskrunner/supervisor/shapes.py",
        "    kind, *values = frame\n",
        "    return frame\n    kind, *values = frame\n",
        HOSTILE + "test_a_child_that_speaks_nonsense_is_replaced",
    ),
    one(
        "a child that asks without end has to wait",
        "taskrunner/supervisor/hearing.py",
        "        if frame[0] != Kind.CALL or not child.channel.is_open:\n            return False\n",
        "        return False\n",
        HOSTILE + "test_a_child_that_asks_without_end_is_not_heard_until_it_is_answered",
        HOSTILE + "test_a_child_that_does_not_read_its_answers_is_not_heard",
    ),
    one(
        "a frame that is never whole is given up",
        "taskrunner/supervisor/channel.py",
        "        elif now - self._frame_since > LONGEST_FRAME_S:\n",
        "        elif False:\n",
        HOSTILE + "test_a_child_that_seems_to_write_one_frame_for_ever_is_replaced",
    ),
    one(
        "no NaN gets into a store",
        "taskrunner/supervisor/shapes.py",
        "        and sum(seconds) >= 0  # a NaN is neither small nor large\n",
        "",
        "tests/faults/test_fuzz_frames.py::test_one_wrong_field_makes_nonsense_of_a_report",
    ),
    one(
        "a job is settled under the name it was given out by",
        "taskrunner/supervisor/dispatch.py",
        "                row[:2] = held.delivery[:2]\n",
        "",
        HOSTILE + "test_a_report_under_another_name_ends_the_job_it_was_given_for",
    ),
    one(
        "more than a frame holds goes in several",
        "taskrunner/supervisor/child.py",
        "for part in [rows] if self.bytes - before <= MOST_IN_FRAME else _parts(rows):",
        "for part in [rows]:",
        HOSTILE + "test_more_than_a_frame_holds_goes_in_several",
    ),
    one(
        "the memory that a child shares cannot be taken away",
        "taskrunner/supervisor/child.py",
        "        self.page.seal()\n",
        "",
        HOSTILE + "test_a_child_cannot_take_the_shared_memory_from_under_its_supervisor",
    ),
    one(
        "a frame's length is believed up to a limit",
        "taskrunner/frames.py",
        "                if size > MAX_FRAME:\n",
        "                if size > 2**40:\n",
        "tests/faults/test_fuzz_frames.py::"
        "test_a_length_beyond_the_limit_is_refused_before_anything_is_kept",
    ),
    one(
        "options of a foreign header have to make sense",
        "taskrunner/message.py",
        "    if type(value) not in (int, float) or not 0 <= value <= 1000 * LONGEST:\n",
        "    if type(value) not in (int, float):\n",
        "tests/faults/test_fuzz_wire.py::test_options_that_make_no_sense_are_no_message",
    ),
    one(
        "an unreadable message fails its own job",
        "taskrunner/supervisor/intake.py",
        "        except MessageError as error:\n",
        "        except KeyError as error:\n",
        NODE + "test_garbage_in_a_record_fails_that_job_and_no_other",
        "tests/faults/test_fuzz_wire.py::test_an_intake_settles_what_it_cannot_run",
    ),
)
