/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* As much of the kernel's own task_struct as tells processes and their ends; relocated when loaded
 * (CO-RE). */
#pragma once

struct counted {
  int counter;
} __attribute__((preserve_access_index));

struct signal_struct {
  struct counted live; /* threads that have not begun to exit */
} __attribute__((preserve_access_index));

struct task_struct {
  int tgid;
  struct signal_struct* signal;
} __attribute__((preserve_access_index));
