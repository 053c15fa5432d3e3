package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/sirupsen/logrus"
)

// newLogger logs to the journal, with fields of their own, where stderr is the
// journal (systemd sets JOURNAL_STREAM), and as text otherwise.
func newLogger(stderr io.Writer) *logrus.Logger {
	log := logrus.New()
	log.SetOutput(stderr)
	log.SetFormatter(&logrus.TextFormatter{FullTimestamp: true, TimestampFormat: "15:04:05.000"})
	if yes, err := journal.StderrIsJournalStream(); err == nil && yes && journal.Enabled() {
		log.SetOutput(io.Discard)
		log.AddHook(journalHook{})
	}
	return log
}

// journalHook sends entries to the journal: journalctl NM_CLOUD_SEED_DEVICE=eth0
// finds what was said of a device.
type journalHook struct{}

func (journalHook) Levels() []logrus.Level { return logrus.AllLevels }

func (journalHook) Fire(e *logrus.Entry) error {
	priority := map[logrus.Level]journal.Priority{
		logrus.PanicLevel: journal.PriCrit, logrus.FatalLevel: journal.PriCrit,
		logrus.ErrorLevel: journal.PriErr, logrus.WarnLevel: journal.PriWarning,
		logrus.InfoLevel: journal.PriInfo, logrus.DebugLevel: journal.PriDebug, logrus.TraceLevel: journal.PriDebug,
	}[e.Level]
	message, fields := journalEntry(e)
	return journal.Send(message, priority, fields)
}

// journalEntry is an entry in the journal's terms (systemd.journal-fields(7)).
// The message repeats an error, for those who read only that.
func journalEntry(e *logrus.Entry) (message string, fields map[string]string) {
	fields = map[string]string{"SYSLOG_IDENTIFIER": "nm-cloud-seed"}
	message = e.Message
	for key, value := range e.Data {
		text := fmt.Sprint(value)
		fields["NM_CLOUD_SEED_"+strings.ToUpper(key)] = text
		if key == logrus.ErrorKey {
			message += ": " + text
		}
	}
	if device, ok := e.Data["device"]; ok {
		message = fmt.Sprintf("%s: %s", device, message)
	}
	return message, fields
}
