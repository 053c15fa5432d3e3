package main

import (
	"fmt"
	"time"

	"github.com/godbus/dbus/v5"
)

// stormCommand is what the program does in an image.
const stormCommand = "storm"

// A bus lets one connection wait for so many answers, and dbus-broker less than
// dbus-daemon.
const stormConnections, stormEach = 20, 50

// storm calls the D-Bus API's Refresh a thousand times at once, and says what came
// of it.
func storm() error {
	began := time.Now()
	var calls []*dbus.Call
	for range stormConnections {
		conn, err := dbus.ConnectSystemBus()
		if err != nil {
			return err
		}
		defer conn.Close()
		object := conn.Object("org.nmcloudseed1", "/org/nmcloudseed1")
		for range stormEach {
			calls = append(calls, object.Go("org.nmcloudseed1.Seeder.Refresh", 0, make(chan *dbus.Call, 1)))
		}
	}
	good := 0
	var failed error
	for _, call := range calls {
		if <-call.Done; call.Err != nil {
			failed = call.Err
			continue
		}
		good++
	}
	fmt.Printf("%d of %d\n", good, len(calls))
	fmt.Printf("within %v\n", time.Since(began).Round(time.Millisecond))
	return failed
}
