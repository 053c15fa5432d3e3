package main

import "testing"

func TestRoomIsTheScarcestOfProcessorsMemoryAndInotify(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		processors, memory, inotify int
		want                        room
	}{
		"processors":      {2, 1 << 20, 8192, room{6, "2 processors"}},
		"memory":          {16, 4 * containerMiB, 8192, room{4, "2800 MiB of free memory"}},
		"inotify":         {16, 1 << 20, 128, room{8, "128 free inotify instances (more: sysctl fs.inotify.max_user_instances=1024)"}},
		"nothing is left": {2, 10, 0, room{1, "10 MiB of free memory"}},
		"unknown":         {1, unknown, unknown, room{3, "1 processors"}},
	} {
		if got := roomFor(c.processors, c.memory, c.inotify); got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

func TestOneScenarioAlwaysFitsInTheRoom(t *testing.T) {
	t.Parallel()
	for _, s := range []scenario{{}, {virtual: cloudStack}} {
		for containers := range int64(7) {
			r := room{containers: containers + 1}
			if got := r.weight(s); got < 1 || got > r.containers {
				t.Errorf("in a room for %d containers a scenario weighs %d (virtual: %t)", r.containers, got, s.virtual != nil)
			}
		}
	}
}
